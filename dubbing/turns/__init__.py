"""Rules of who says what in a dub: by stems, by lines, by names. The stage `turns` asks them shot by shot.

Each is given plain masks of frames and faces that others found; none of them opens a file.
"""
