// Source or dub to both ears: the proxy carries the source's sound at the left, the dub's at the right.

export class Sound {
  constructor() {
    /** @type {AudioContext | null} */
    this.context = null;
    /** @type {WeakMap<HTMLVideoElement, { gains: Record<Which, GainNode>, both: GainNode, nodes: AudioNode[] }>} */
    this.known = new WeakMap(); // video -> its two gains
    /** @type {HTMLVideoElement | null} */
    this.now = null;
    /** @type {Which} */
    this.which = "dub";
    this.volume = 1;
  }

  // Only after a press of a key or button: browsers allow no sound before.
  /** @param {HTMLVideoElement} video */
  attach(video) {
    const before = this.known.get(this.now);
    if (before && this.now !== video) before.both.gain.value = 0; // one is heard
    this.now = video;
    try {
      this.context ??= new AudioContext();
      if (this.context.state === "suspended") this.context.resume();
    } catch {
      return; // no sound device: the picture plays all the same
    }
    if (!this.known.has(video)) {
      const from = this.context.createMediaElementSource(video);
      const split = this.context.createChannelSplitter(2);
      const both = this.context.createGain();
      const gains = { source: this.context.createGain(), dub: this.context.createGain() };
      from.connect(split);
      split.connect(gains.source, 0);
      split.connect(gains.dub, 1);
      for (const gain of Object.values(gains)) gain.connect(both);
      both.channelCount = 1; // a mono node: its one channel is played to both ears
      both.channelCountMode = "explicit";
      both.connect(this.context.destination);
      this.known.set(video, { gains, both, nodes: [from, split, ...Object.values(gains), both] });
    }
    this.set();
  }

  // A video that is played no more: its nodes, left connected, would hold it for as long as the page is open.
  /** @param {HTMLVideoElement} video */
  detach(video) {
    for (const node of this.known.get(video)?.nodes ?? []) node.disconnect();
    this.known.delete(video);
    if (this.now === video) this.now = null;
  }

  set() {
    const held = this.known.get(this.now);
    if (!held) return;
    const at = this.context.currentTime;
    for (const [name, gain] of Object.entries(held.gains)) gain.gain.setTargetAtTime(name === this.which ? 1 : 0, at, 0.01);
    held.both.gain.setTargetAtTime(this.volume, at, 0.01);
  }

  /** @param {Which} which */
  choose(which) {
    this.which = which;
    this.set();
  }
}
