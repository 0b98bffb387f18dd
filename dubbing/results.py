"""What a finished dub leaves for people: its table, its master under its name, its counts.

Reads only what stages committed. Which shots need a person is decided here, from the thresholds of
the configuration, so that changing one renders nothing again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dubbing.analysis.asked import within
from dubbing.analysis.dialogue import ONLY
from dubbing.analysis.mixes import mixed_in
from dubbing.artifacts.actors import FittedActors
from dubbing.artifacts.people import Cast
from dubbing.artifacts.proof import MasterProof, Proof
from dubbing.artifacts.shots import ShotList
from dubbing.artifacts.sound import DubSound, SourceSound
from dubbing.artifacts.speakers import SpeakerList
from dubbing.artifacts.takes import SHEET, Master, Scores, Signed, Take
from dubbing.artifacts.turns import TurnList
from dubbing.clock import Timeline
from dubbing.job import Job, Step
from dubbing.manifest import Dub, Title
from dubbing.place import TitleTasks
from dubbing.provenance.claims import sidecar_of
from dubbing.provenance.credentials import installed
from dubbing.severity import judged, reason, severity
from dubbing.shot_table import FACE_SCHEMA, FACES, shot_numbers, write_rows
from dubbing.stages.audio import DubAudio
from dubbing.stages.sign import Sign
from dubbing.task import Outcome, Task

__all__ = ["publish_dub"]


def publish_dub(job: Job, title: Title, dub: Dub, failed: Mapping[str, Outcome]) -> dict[str, Any]:
    """Write shots.parquet and faces.parquet, and put the master in place; returns one summary row.

    The row: title, language, counts (status -> shots), needs_review, table, master (None when it
    failed), other_masters, signed (by whom, and which masters carry it or have it beside them; None where none is asked
    for), error, notices, sheets (contact sheets, as paths), verified (whether its masters are proven; None where they
    were not looked at), proof (what `dub verify --json` says of each).
    """
    tasks = job.dub(title, dub, failed)
    folder = job.store.dub(title.id, dub.language)
    table = folder / "shots.parquet"
    summary: dict[str, Any] = {"title": title.id, "language": dub.language, "counts": {}, "needs_review": 0,
                               "table": None, "master": None, "other_masters": [], "signed": None, "error": None,
                               "notices": [], "sheets": [], "verified": None, "proof": []}  # fmt: skip
    if tasks.master is None:
        mine = {t.id for t in job.plan(title, failed).every}
        causes = [o.error for t, o in failed.items() if t in mine]
        return {**summary, "error": causes[0] if causes else "its analysis did not finish"}
    line = job.timeline(title)
    rows, faces = [], []
    job.know(t for step in tasks.steps for t in (step.faces, step.take, step.score))
    drawn = job.store.find(folder, SHEET)
    planned = job.plan(title, failed, dubs=[dub])
    listed: ShotList | None = job.result(planned.get(ShotList))
    cast: Cast = job.result(planned.get(Cast)) or Cast()
    turns: TurnList = job.result(planned.get(TurnList, dub.language)) or TurnList(())
    names = dict(cast.characters) | {f.track: f.character for s in turns.shots for f in s.faces if f.character}
    for step in tasks.steps:
        row, rendered = _row(job, title, dub, step, line, failed, names)
        mixed = mixed_in(listed.mixes if listed else (), step.shot.start_frame, step.shot.end_frame)
        row["mixed_frames"] = sum(b - a for a, b in mixed)
        if step.selected is not None:
            row["selection"] = "; ".join([step.selected.why, *_lost(planned, dub, step.shot.id, failed)])
        faces += rendered
        row["severity"] = severity(row, job.config.review)
        rows.append(row)
        sheets = [at.folder / SHEET for at in (step.take, step.score) if at.folder / SHEET in drawn]
        if row["status"] == "dubbed" and sheets and job.config.sync.score:
            summary["sheets"].append(job.store.shown(sheets[0]))
    made: Master | None = job.result(tasks.master)
    known = {"active_speaker": job.active_speaker} if job.active_speaker else {}
    write_rows(job.store, folder / FACES, faces, FACE_SCHEMA)
    write_rows(job.store, table, rows, content=tasks.master.key, **known)
    summary["counts"] = dict(Counter(row["status"] for row in rows))
    summary["needs_review"] = sum(bool(row["needs_review"]) for row in rows)
    summary["table"] = job.store.shown(table)
    if made is None:
        outcome = failed.get(tasks.master.id)
        return {**summary, "error": outcome.error if outcome else "the master was not made"}
    said: dict[str, str] = {}
    if job.signing is not None:
        signed: Signed | None = job.result(tasks.signed)
        if signed is None:
            outcome = failed.get(tasks.signed.id) if tasks.signed else None
            return {**summary, "error": outcome.error if outcome else "the master was not signed"}
        said = dict(zip(made.files, signed.said, strict=True))
        summary["signed"] = {"by": signed.by, "inside": list(signed.inside), "beside": list(signed.beside)}
    summary["master"] = job.store.shown(_publish(job, title, dub, tasks.master, tasks.signed))
    summary["other_masters"] = [job.store.shown(folder / name) for name in made.others]
    summary["notices"] = [*made.notices, *_notices(job, title, dub, failed)]
    if tasks.proof is not None:
        proof: Proof | None = job.result(tasks.proof)
        summary["verified"] = proof is not None and proof.verified
        summary["proof"] = [_verify(job, title, dub, one, said) for one in proof.masters] if proof else []
        summary["error"] = _unproven(proof, failed.get(tasks.proof.id))
    else:
        summary["notices"].append("its masters were not compared with the film: `proof: false` in the configuration.")
    return summary


def _verify(job: Job, title: Title, dub: Dub, one: MasterProof, signed: Mapping[str, str]) -> dict[str, Any]:
    """What `dub verify --json` says of a master. signed: what was read back of its signature, by name."""
    detail = signed.get(one.file, "no signature")
    provenance = [{"what": "provenance", "status": "equal", "detail": detail}] if installed() else []
    return {
        "schema": "dub.verify.1", "master": job.store.shown(job.store.dub(title.id, dub.language) / one.file),
        "source": job.store.copies.named(str(job.film(title))), "dub": str(dub.audio),
        "takes": job.store.shown(job.store.root), "exit_code": int(bool(one.differing)),
        "checks": [asdict(c) for c in one.checks] + provenance, "pictures": one.pictures,
    }  # fmt: skip


def _unproven(proof: Proof | None, outcome: Outcome | None) -> str | None:
    """What is wrong with masters, as a sentence; None where they are proven."""
    if proof is None:
        return f"its masters are not proven: {outcome.error if outcome else 'nothing was compared'}"
    return "; ".join(one.sentence for one in proof.masters if one.differing) or None


def _notices(job: Job, title: Title, dub: Dub, failed: Mapping[str, Outcome]) -> list[str]:
    """What of the sounds was listened to, where there was a choice, and whether the original has a dialogue at all."""
    known, found = job.plan(title, failed, dubs=[dub]), []
    for kind, language, file in (
        (SourceSound, None, (title.original and title.original.dialogue) or title.video),
        (DubSound, dub.language, dub.dialogue or dub.audio),
    ):
        sound = job.result(known.get(kind, language))
        if sound is not None and sound.listened and not sound.listened.endswith(ONLY):
            found.append(f"of {file.name} was listened to: {sound.listened}.")
    cast: Cast = job.result(known.get(Cast)) or Cast()
    found += [f"{doubt}; name people by `dub cast`." for doubt in cast.doubts]
    speakers, own = job.result(known.get(SpeakerList)), job.result(known.get(SourceSound))
    if speakers is not None and speakers.unheard:
        found.append(
            f"{title.video.name} has {own.speech_s:.1f} s of speech, far less than lips are seen to move: it was taken "
            "for music and effects, and who speaks was chosen by sight. Name its dialogue in the manifest (`original: "
            "{dialogue: FILE}`, or `{track: 2}`)."
        )
    turns: TurnList | None = job.result(known.get(TurnList, dub.language))
    found += turns.notices if turns else ()
    dubbed: DubSound | None = job.result(known.get(DubSound, dub.language))
    for name, seconds in sorted(dubbed.held_s.items()) if dubbed else ():
        found.append(f"{seconds:.1f} s of {name}'s stem hold another's voice, heard through, and move nobody.")
    return found


def _row(
    job: Job,
    title: Title,
    dub: Dub,
    step: Step,
    line: Timeline,
    failed: Mapping[str, Outcome],
    names: Mapping[str, str],
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """One row of `dub.shot.1`, and one of `dub.face.1` for each face that is rendered in it."""
    shot = step.shot
    row: dict[str, Any] = {
        "title": title.id, "language": dub.language, "shot": shot.id,
        "start_frame": shot.start_frame, "end_frame": shot.end_frame,
        "start_tc": line.timecode(shot.start_frame), "end_tc": line.timecode(shot.end_frame),
        "needs_review": False,
    }  # fmt: skip
    asked = job.asked(title, dub)
    if asked is not None:
        kept = within(asked, shot.start_frame, shot.end_frame)
        row["excluded_frames"] = len(shot) - sum(b - a for a, b in kept)
    spent = [job.spent(t) for t in (step.faces, step.take, step.score)]
    row["seconds"] = sum(s.seconds for s in spent if s)
    broken = next((failed[t.id] for t in (step.faces, step.take, step.score) if t.id in failed), None)
    take: Take | None = job.result(step.take)
    if take:
        row |= {"face": take.face, "face_px": take.face_px, "yaw_deg": take.yaw_deg}
        row["character"] = names.get(take.face or "")
    if broken is not None:
        row |= {"status": "failed", "reason": broken.error_class, "error": broken.error}
        row |= {"needs_review": True, "review_reason": f"failed: {broken.error}"}
        return row, []
    if take is None:
        return row | {"status": "failed", "reason": "StageError", "error": "this shot was not reached"}, []
    row |= {"status": take.status, "reason": take.reason, "occluded_frames": take.occluded_frames or None}
    row["covered_frames"] = take.covered_frames or None
    if take.status != "dubbed":
        return row | {"needs_review": take.doubt is not None, "review_reason": take.doubt}, []
    if not step.delivered:
        return row | {"status": "untouched", "reason": "excluded"}, []
    row |= {"generator": take.generator, "generator_hash": take.generator_hash, "take": step.take.key[:12]}
    actors = _actors(job, title, take)
    scores: Scores = job.result(step.score) or Scores()
    faces = judged((face.row() for face in scores.faces), job.config.review)
    doubt = None if step.selected is None or step.decided.take else step.selected.doubt
    said = [text for text in (reason(faces), take.doubt, doubt) if text]
    row |= shot_numbers(faces) | {"review_reason": "; ".join(said) or None}
    rendered = {face.track: face for face in take.rendered}
    if faces:
        worst = faces[0]["track"]
        row |= {"actor": actors.get(worst), "character": names.get(worst)}
    seen = step.decided.approves(row["take"])
    row["needs_review"] = row["review_reason"] is not None and not seen
    whose = {name: row[name] for name in ("title", "language", "shot", "take")}
    return row, [
        {**face, **whose, "actor": actors.get(face["track"]),
         "character": names.get(face["track"]), "stem": rendered[face["track"]].sound or None,
         "start_tc": line.timecode(face["start_frame"]), "end_tc": line.timecode(face["end_frame"])}
        for face in faces
    ]  # fmt: skip


def _lost(planned: TitleTasks, dub: Dub, shot: str, failed: Mapping[str, Outcome]) -> list[str]:
    """Why takes of a shot failed that were to be compared, as far as this run knows, sentences without their ends."""
    found = {}
    for name in planned.candidates.get((dub.language, shot), ()):
        for kind in (Scores, Take):
            task = planned.get(kind, dub.language, shot, name)
            if task is not None and task.id in failed:
                found[name] = f"{name}: {failed[task.id].error}"
    return list(found.values())


def _actors(job: Job, title: Title, take: Take) -> dict[str, str | None]:
    """By track, the name of a rendered face's actor: the file of the model that was fitted on the title, if one was."""
    fitted: FittedActors | None = job.result(job.analysis(title).get(FittedActors))
    return {face.track: fitted.model_files.get(face.actor) for face in take.rendered} if fitted else {}


def _publish(job: Job, title: Title, dub: Dub, master: Task, signed: Task | None = None) -> Path:
    """Put a finished master under its contract name, without copying where the disk allows it, and further ones beside
    it; signed: those that carry their signature in its place, and what lies beside the others. Returns where the first
    lies."""
    store, made, signature = job.store, job.result(master), job.result(signed)
    assert isinstance(made, Master)
    inside, beside = (signature.inside, signature.beside) if signed and signature else ((), ())
    home = store.dub(title.id, dub.language)
    for file in made.files:
        if sidecar_of(file) not in beside:
            store.retract(home / sidecar_of(file))
    for file in (*beside, *reversed(made.files)):
        whose = signed if signed and file in (*inside, *beside) else master
        store.publish(whose.folder / file, home / file)
    store.retire(master.folder)
    for old in () if signed else store.names(home, f"{Sign.folder}-"):
        store.remove(old)
    for stage in (master.stage, DubAudio.name):  # of a master, or a sound, that was not made after all
        for left in store.names(home / "windows", f"{stage}-"):
            store.remove(left)
    return home / made.file
