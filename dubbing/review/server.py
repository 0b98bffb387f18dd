"""The review server: an output folder as a page and as JSON.

It is thin: `library`, `proxy`, `curves` and `background_jobs` do the work.

Every address that a client sends is looked up among what the library knows; none becomes a path.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from dubbing import __version__, generators
from dubbing.decisions import (
    MOST_POINTS,
    MOST_STROKES,
    REASONS,
    Conflict,
    Decision,
    Kind,
    Reason,
    Severity,
    ShotKey,
    name_of,
)
from dubbing.errors import DubError, InputError
from dubbing.review import people, told
from dubbing.review.background_jobs import BackgroundJobs
from dubbing.review.curves import curves
from dubbing.review.dashboard import GROUPS, SCORES, dashboard
from dubbing.review.export import refusal
from dubbing.review.library import Library
from dubbing.review.overlays import overlays
from dubbing.review.proofs import proof_lines
from dubbing.review.proxy import Proxies
from dubbing.review.report import report
from dubbing.review.safety import Guard

__all__ = ["Desk", "create_app"]

HERE = Path(__file__).parent
_PROXY = re.compile(r"[0-9a-z_-]{1,80}\.mp4")
_LIVE = 300  # changed shots that one answer carries
_SHOTS = 12  # shots of a person that are linked
_MOST_SAID = 1000  # letters of why a request is refused
_Name = Annotated[str, StringConstraints(max_length=255)]
_Names = Annotated[list[_Name], Field(min_length=3, max_length=3)]  # title, language, shot


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


_Point = Annotated[list[float], Field(min_length=2, max_length=2)]
_Stroke = Annotated[list[_Point], Field(max_length=MOST_POINTS)]


class _Decide(_Body):
    key: _Names
    kind: Kind
    reviewer: _Name
    revision: int | None = None
    take: _Name | None = None
    frame: int | None = None
    text: str = ""
    severity: Severity | None = None
    undoes: int | None = None
    drawing: list[_Stroke] = Field(default=[], max_length=MOST_STROKES)
    reasons: list[Reason] = Field(default=[], max_length=len(REASONS))


class _Sides(_Body):
    a: _Name = "source"
    b: _Name = "current"
    face: _Name | None = None
    prepare: bool = False


class _Rerun(_Body):
    keys: Annotated[list[_Names], Field(min_length=1, max_length=500)]
    generator: dict[str, Any]
    reviewer: Annotated[str, Field(min_length=1, max_length=80)]


class _Cancel(_Body):
    id: int
    reviewer: Annotated[str, Field(min_length=1, max_length=80)]


class _NamePerson(_Body):
    title: _Name
    number: int
    track: _Name
    name: _Name
    reviewer: Annotated[str, Field(min_length=1, max_length=80)]


class _Export(_Body):
    reviewer: Annotated[str, Field(min_length=1, max_length=80)]


class Desk:
    """What all requests share."""

    def __init__(self, library: Library, proxies: Proxies, background_jobs: BackgroundJobs) -> None:
        self.library, self.proxies, self.background_jobs = library, proxies, background_jobs
        self._report: tuple[tuple[int, ...], str] | None = None
        self._refusal: tuple[tuple[int, ...], str | None] | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        self.background_jobs.close()
        self.proxies.close()

    def report(self) -> str:
        """The report as decisions stand now; made anew when something changed."""
        with self._lock:
            state = (self.seq, *self.library.tables_stamp())
            if self._report is None or self._report[0] != state:
                self._report = (state, report(self.library))
            return self._report[1]

    def refusal(self) -> str | None:
        """Why what is decided could not be exported now; looked up anew when a table was written anew."""
        with self._lock:
            state = self.library.tables_stamp()
            if self._refusal is None or self._refusal[0] != state:
                self._refusal = (state, refusal(self.library))
            return self._refusal[1]

    @property
    def seq(self) -> int:
        return len(self.library.log.records())

    def rows(self) -> dict[ShotKey, dict[str, Any]]:
        return {(r["title"], r["language"], r["shot"]): r for r in self.library.rows()}

    def decide(self, said: _Decide) -> Decision:
        """Append a decision; a take that is named must be there, a comment's frame must be the shot's."""
        shown = self.library.find(*said.key)
        about: dict[str, Any] = {"text": said.text, "undoes": said.undoes, "reasons": tuple(said.reasons)}
        if said.kind == "rerun":
            raise InputError("A rerun is asked for at /api/rerun.")
        if said.kind in ("approve", "reject", "choose"):
            take = shown.take(said.take or "current")
            about |= {"take": take.id, "generator": take.generator if said.kind == "choose" else None}
        if said.kind == "comment":
            first, last = shown.step.shot.start_frame, shown.step.shot.end_frame
            frame = first if said.frame is None else said.frame
            if not 0 <= frame < len(shown.line):
                raise InputError(f"Frame {frame} is not in the film; this shot is {first} to {last - 1}.")
            about |= {"frame": frame, "severity": said.severity or "note"}
        if said.drawing:
            about["drawing"] = tuple(tuple((round(x, 4), round(y, 4)) for x, y in s) for s in said.drawing)
        return self.library.log.append(shown.key, said.kind, said.reviewer, expected=said.revision, **about)


def create_app(desk: Desk, token: str, host: str, port: int) -> FastAPI:
    """The application, guarded; `desk` is closed when it ends."""

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        desk.close()

    app = FastAPI(
        title="dub review", version=__version__, lifespan=life, docs_url=None, redoc_url=None, openapi_url=None
    )
    app.add_middleware(Guard, token=token, host=host, port=port)
    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")
    _errors(app)
    _pages(app, desk)
    _reads(app, desk)
    _pictures(app, desk)
    _writes(app, desk)
    return app


def _errors(app: FastAPI) -> None:
    @app.exception_handler(DubError)
    def known(_: Request, e: DubError) -> JSONResponse:
        return _refused(str(e), 422 if isinstance(e, InputError) else 500)

    @app.exception_handler(RequestValidationError)
    def malformed(_: Request, e: RequestValidationError) -> JSONResponse:
        first = e.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        return _refused(f"{where or 'The request'}: {first['msg']}.", 422)

    @app.exception_handler(HTTPException)
    def absent(_: Request, e: HTTPException) -> JSONResponse:
        return _refused(f"{e.detail}.", e.status_code)


def _refused(why: str, status: int, **more: Any) -> JSONResponse:
    """One sentence, of bounded length; half a letter that a client sent, which no answer can hold, as its escape."""
    text = why.encode("utf-8", "backslashreplace").decode()
    return JSONResponse({"error": text if len(text) <= _MOST_SAID else f"{text[:_MOST_SAID]} ...", **more}, status)


def _pages(app: FastAPI, desk: Desk) -> None:
    templates = Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined)

    def page(name: str, **values: Any) -> HTMLResponse:
        return HTMLResponse(templates.get_template(name).render(version=__version__, **values))

    @app.get("/", response_class=HTMLResponse)
    def queue() -> HTMLResponse:
        library, proven = desk.library, {True: 0, False: 0}
        for title, dub in library.dubs():
            for one in proof_lines(library.store, library.store.dub(title.id, dub.language)):
                proven[one["proven"]] += 1
        return page("queue.html", out=library.out.name, proven=proven[True], unproven=proven[False])

    @app.get("/shot/{title}/{language}/{shot}", response_class=HTMLResponse)
    def shot_page(title: _Name, language: _Name, shot: _Name) -> HTMLResponse:
        desk.library.find(title, language, shot)
        return page("shot.html", title=title, language=language, shot=shot)

    @app.get("/languages/{title}/{shot}", response_class=HTMLResponse)
    def languages_page(title: _Name, shot: _Name) -> HTMLResponse:
        languages = [k[1] for k in desk.rows() if (k[0], k[2]) == (title, shot)]
        if not languages:
            raise InputError(f"There is no shot {title}/{shot} in {str(desk.library.out)!r}.")
        return page("languages.html", title=title, shot=shot, languages=sorted(languages))

    @app.get("/dashboard", response_class=HTMLResponse)
    def dashboard_page(by: _Name = "language", score: _Name = "lse_d") -> HTMLResponse:
        return page("dashboard.html", out=desk.library.out.name, by=by, score=score, by_what=GROUPS, scores=SCORES,
                    reasons=REASONS, **dashboard(desk.library, by, score))  # fmt: skip

    @app.get("/cast", response_class=HTMLResponse)
    def cast_page() -> HTMLResponse:
        return page("cast.html", out=desk.library.out.name, titles=people.cast_of(desk.library), px=people.PICTURE_PX,
                    most=_SHOTS)  # fmt: skip

    @app.get("/report.html", response_class=HTMLResponse)
    def report_page() -> HTMLResponse:
        return HTMLResponse(desk.report())


def _reads(app: FastAPI, desk: Desk) -> None:
    library = desk.library

    @app.get("/api/info")
    def info() -> dict[str, Any]:
        return {
            "out": library.out.name, "version": __version__, "log_seq": desk.seq,
            "dubs": [told.dub(library, title.id, dub.language) for title, dub in library.dubs()],
            "thresholds": library.config.review.model_dump(),
            "generators": [told.generator(library, name) for name in generators.names()],
        }  # fmt: skip

    @app.get("/api/shots")
    def shots() -> Response:
        seq, rows = desk.seq, library.rows()
        columns = list(rows[0]) if rows else []
        table = {"log_seq": seq, "columns": columns, "rows": [[row[c] for c in columns] for row in rows]}
        # written here: FastAPI would look at every value of thousands of rows
        return Response(json.dumps(table, separators=(",", ":"), allow_nan=False), media_type="application/json")

    @app.get("/api/changes")
    def changes(since: Annotated[int, Query(ge=0)], tables: str = "", of: str = "") -> dict[str, Any]:
        records = library.log.records()
        keys = {r.key for r in records[since:]}
        names = sum(r.kind == "name" for r in records)  # stand in the rows of many shots
        stamp = "-".join(str(n) for n in (library.log.generation, names, *library.tables_stamp()))
        rows = desk.rows() if keys else {}
        return {
            "log_seq": len(records), "tables": stamp, "tables_changed": bool(tables) and tables != stamp,
            "shots": [rows[k] for k in list(keys)[:_LIVE] if k in rows], "more": len(keys) > _LIVE,
            "reruns": told.jobs(desk.background_jobs.all(), of),
        }  # fmt: skip

    @app.get("/api/shot/{title}/{language}/{shot}")
    def one(title: _Name, language: _Name, shot: _Name) -> dict[str, Any]:
        return told.shot(library, desk.rows(), library.find(title, language, shot))

    @app.get("/api/curves/{title}/{language}/{shot}")
    def curves_of(title: _Name, language: _Name, shot: _Name, take: _Name = "current") -> dict[str, Any]:
        shown = library.find(title, language, shot)
        return curves(library, shown, shown.take(take).id)

    @app.get("/api/overlays/{title}/{language}/{shot}")
    def overlays_of(title: _Name, language: _Name, shot: _Name, take: _Name = "current") -> dict[str, Any]:
        shown = library.find(title, language, shot)
        return overlays(library, shown, shown.take(take).id)

    @app.get("/api/refusal")
    def cannot_export() -> dict[str, str | None]:
        return {"why": desk.refusal()}

    @app.get("/api/reruns")
    def reruns() -> list[dict[str, Any]]:
        return [told.job(e) for e in desk.background_jobs.all()]


def _pictures(app: FastAPI, desk: Desk) -> None:
    library, proxies = desk.library, desk.proxies

    @app.get("/api/thumb/{title}/{language}/{shot}.jpg")
    def thumb(title: _Name, language: _Name, shot: _Name) -> Response:
        picture = proxies.thumb(library.find(title, language, shot))
        return Response(picture, media_type="image/jpeg", headers={"cache-control": "private, max-age=60"})

    @app.get("/api/portrait/{title}/{number}.jpg")
    def portrait(title: _Name, number: int) -> Response:
        person = people.find_person(people.people_of(library, title), number)
        picture = people.picture_of(library, person)
        return Response(picture, media_type="image/jpeg", headers={"cache-control": "private, max-age=3600"})

    @app.get("/api/still/{title}/{language}/{shot}.jpg")
    def still(title: _Name, language: _Name, shot: _Name, a: _Name = "source", b: _Name = "current", frame: int = -1,
              face: _Name | None = None) -> Response:  # fmt: skip
        shown = library.find(title, language, shot)
        at = shown.step.shot.start_frame if frame < 0 else min(frame, len(shown.line) - 1)
        return Response(proxies.still(shown, a, b, at, face), media_type="image/jpeg")

    @app.post("/api/proxy/{title}/{language}/{shot}")
    def proxy(title: _Name, language: _Name, shot: _Name, sides: _Sides) -> Mapping[str, Any]:
        return proxies.ask(
            library.find(title, language, shot), sides.a, sides.b, background=sides.prepare, face=sides.face
        )

    @app.get("/proxy/{name}")
    def stream(name: _Name) -> Response:
        path = proxies.path(name) if _PROXY.fullmatch(name) else None
        if path is None:
            return _refused("There is no such proxy; ask for the shot again.", 404)
        return FileResponse(path, media_type="video/mp4", headers={"cache-control": "private, max-age=3600"})


def _writes(app: FastAPI, desk: Desk) -> None:
    library = desk.library

    @app.post("/api/decide")
    def decide(said: _Decide) -> Response:
        def state() -> dict[str, Any]:  # of the log and the tables: a film that is gone must not hide a record
            key = (said.key[0], said.key[1], said.key[2])
            return {"row": desk.rows().get(key), "standing": told.standing(library.log.of(key))}

        try:
            record = desk.decide(said)
        except Conflict as e:
            return _refused(str(e), 409, **state())
        return JSONResponse({"record": told.record(record), **state()})

    @app.post("/api/name")
    def name(said: _NamePerson) -> dict[str, str | None]:
        person = people.find_person(people.people_of(library, said.title), said.number)
        if person.tracks[0] != said.track:
            raise InputError(f"Person {said.number} is another since you looked; load the page again.")
        return {"note": people.name_person(library, person, said.name, name_of(said.reviewer))}

    @app.post("/api/rerun")
    def rerun(said: _Rerun) -> dict[str, Any]:
        rows = desk.rows()
        for n, key in enumerate(said.keys):
            if not n or tuple(key) not in rows:  # the takes of hundreds of shots are not looked for
                library.find(*key)
        settings = library.choice(said.generator).decision
        return told.brief(desk.background_jobs.rerun(said.keys, settings, name_of(said.reviewer)))

    @app.post("/api/export")
    def export(said: _Export) -> dict[str, Any]:
        return told.brief(desk.background_jobs.export(name_of(said.reviewer)))

    @app.post("/api/cancel")
    def cancel(said: _Cancel) -> dict[str, Any]:
        return told.brief(desk.background_jobs.cancel(said.id, name_of(said.reviewer)))
