"""Ray's Jobs API, as far as a run needs it: submit or attach, list, read the log, stop.

Every failure comes out as a ClusterError of one sentence. It knows nothing of what a run does; its exit
status and its log are all that comes back.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import ray.job_submission
import requests

import dubbing
from dubbing.cluster.access import Token
from dubbing.cluster.submission import Submission, attempt_of, is_job_id
from dubbing.errors import ClusterError, DubError
from dubbing.preflight import SENT_WITH, versions
from dubbing.store import temporary

__all__ = ["Cluster", "ClusterJob", "State", "job_of"]

State = Literal["pending", "running", "finished", "failed", "stopped"]
TIMEOUT_S = 30.0
UNDER_WAY = ("pending", "running")
REVIEW = 3
WELL = (0, REVIEW)
_STATES: dict[str, State] = {
    "PENDING": "pending", "RUNNING": "running", "SUCCEEDED": "finished", "FAILED": "failed", "STOPPED": "stopped",
}  # fmt: skip
_LOGGERS = ("ray.dashboard.modules.dashboard_sdk", "ray._private.runtime_env.packaging",
            "ray._private.authentication.http_token_authentication")  # fmt: skip


class LostContact(ClusterError):
    """No answer from the cluster; it may come back."""


@dataclass(frozen=True)
class ClusterJob:
    """A job that dub made.

    exit_status: as of `dub run`, None while under way; started_s, ended_s: seconds since 1970, None where
    unknown; out, manifest: as submitted; message: what Ray says, its first line.
    """

    id: str
    state: State
    exit_status: int | None
    started_s: float | None
    ended_s: float | None
    out: str
    manifest: str
    message: str

    @property
    def under_way(self) -> bool:
        return self.state in UNDER_WAY

    @property
    def ended_well(self) -> bool:
        """Finished, with or without shots to review."""
        return self.exit_status in WELL


class _Client(ray.job_submission.JobSubmissionClient):
    """Ray's client with a timeout for every call, and without the user's .netrc, which would replace the token."""

    def __init__(self, address: str, token: Token) -> None:
        self._told, self._token = address, token
        for name in _LOGGERS:
            logging.getLogger(name).setLevel(logging.ERROR)
        with _without("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"):  # they would win over what was given
            # with a header of its own Ray looks for no token; it fails at that after a run of its own in this process
            super().__init__(address, headers=token.headers or {"Authorization": ""})

    def _do_request(self, method: str, endpoint: str, **options: Any) -> Any:
        try:
            answer = requests.request(
                method,
                self._address + endpoint,
                data=options.get("data"),
                json=options.get("json_data"),
                headers={name: value for name, value in self._headers.items() if value},
                timeout=TIMEOUT_S,
                allow_redirects=False,
                auth=lambda request: request,
            )
        except (requests.exceptions.RequestException, OSError, ValueError) as e:
            slow = isinstance(e, requests.exceptions.Timeout)
            raise LostContact(
                f"Nothing answers at {self._told}{f' within {TIMEOUT_S:.0f} s' if slow else ''}; is the cluster up, is "
                "this its dashboard's address, and can this machine reach it?"
            ) from e
        if answer.status_code == 401:
            raise self._token.missing(self._told)
        if answer.status_code == 403:
            raise self._token.refused(self._told)
        if answer.status_code in (502, 503, 504):
            raise LostContact(f"The way to the cluster at {self._told} is closed (HTTP {answer.status_code}).")
        return answer


@contextmanager
def _without(*names: str) -> Iterator[None]:
    before = {n: os.environ.pop(n) for n in names if n in os.environ}
    try:
        yield
    finally:
        os.environ.update(before)


class Cluster:
    """A Ray cluster that answers. Raises ClusterError where none does, at once and in every method."""

    def __init__(self, address: str, token: Token) -> None:
        self.address = address
        try:
            self._client = _Client(address, token)
        except DubError:
            raise
        except (RuntimeError, ValueError, KeyError, TypeError, OSError) as e:
            raise ClusterError(
                f"What answers at {address} is not Ray's dashboard; give the address that `ray start --head` printed, "
                "for example http://HOST:8265."
            ) from e

    def jobs(self) -> list[ClusterJob]:
        """All jobs that dub made here, oldest first."""
        with self._speaking():
            found = [job_of(d) for d in self._client.list_jobs() if is_job_id(d.submission_id or "")]
        return sorted(found, key=lambda j: (j.started_s or 0.0, j.id))

    def job(self, job_id: str) -> ClusterJob:
        """Raises ClusterError for an id that is not known here."""
        with self._speaking():
            details = self._client.get_job_info(job_id) if is_job_id(job_id) else None
        if details is None:
            raise ClusterError(f"There is no job {job_id!r} at {self.address}; `dub status --address ...` lists them.")
        return job_of(details)

    def attempts(self, name: str) -> list[ClusterJob]:
        """The jobs of one submission, first to newest."""
        found = {n: j for j in self.jobs() if (n := attempt_of(name, j.id)) is not None}
        return [found[n] for n in sorted(found)]

    def submit(
        self, submission: Submission, *, with_code: bool = False, again: bool = False
    ) -> tuple[ClusterJob, bool]:
        """Start the work, or find it. Returns its newest job, and whether this call started it.

        A job under way is never started twice; one that ended well is started anew only with `again`; one that
        failed or was stopped always is. with_code: this package's source travels too.
        """
        for _ in range(3):
            before = self.attempts(submission.name)
            newest = before[-1] if before else None
            if newest and (newest.under_way or (newest.ended_well and not again)):
                return newest, False
            attempt = 1 if newest is None else (attempt_of(submission.name, newest.id) or 0) + 1
            job_id = submission.name if attempt == 1 else f"{submission.name}-{attempt}"
            if self._start(submission, job_id, with_code):
                return self.job(job_id), True
        raise ClusterError(
            f"The cluster at {self.address} takes no job under the id {job_id!r}; look at its dashboard."
        )

    def _start(self, submission: Submission, job_id: str, with_code: bool) -> bool:
        """False where somebody else was quicker."""
        environment: dict[str, Any] = {}
        if with_code:
            here = " ".join(f"{name}=={version}" for name, version in versions().items())
            environment = {
                "py_modules": [str(Path(dubbing.__file__).parent)],
                "excludes": ["**/__pycache__"],
                "env_vars": {SENT_WITH: here},
            }
        with temporary("submit") as folder:
            for name, text in submission.files.items():
                (folder / name).write_text(text, encoding="utf-8")
            environment["working_dir"] = str(folder)
            try:
                self._client.submit_job(
                    entrypoint=submission.entrypoint,
                    submission_id=job_id,
                    runtime_env=environment,
                    metadata=submission.metadata,
                )
            except RuntimeError as e:
                if "already exists" in str(e):
                    return False
                raise ClusterError(f"The cluster at {self.address} did not take the job: {_first_line(str(e))}") from e
        return True

    def log(self, job_id: str) -> str:
        """All that the job has printed so far."""
        with self._speaking():
            return str(self._client.get_job_logs(job_id))

    def stop(self, job_id: str) -> bool:
        """Ask a job to stop; False where it had ended."""
        with self._speaking():
            return bool(self._client.stop_job(job_id))

    def follow(self, job_id: str, patience_s: float = 600.0) -> Iterator[tuple[ClusterJob | None, str]]:
        """(the job, what it printed since) again and again, the last time when it has ended.

        The job is None while the cluster gives no answer; after `patience_s` of that, DubError. Whole lines
        only, but for the last. Reads slowly where the log is long: at most about 100 kB a second.
        """
        told, heard = 0, time.monotonic()
        while True:
            try:
                job = self.job(job_id)
                try:
                    text = self.log(job_id)
                except LostContact:
                    raise
                except ClusterError:  # there is none yet, or its machine is gone
                    text = ""
            except LostContact as e:
                if time.monotonic() - heard > patience_s:
                    raise DubError(
                        f"The cluster at {self.address} has not answered for {patience_s / 60:.0f} minutes; the job "
                        "may be going on: the same command comes back to it."
                    ) from e
                yield None, ""
                time.sleep(5.0)
                continue
            heard = time.monotonic()
            end = text.rfind("\n") + 1 if job.under_way else len(text)
            yield job, text[told:end]
            told = max(told, end)
            if not job.under_way:
                return
            time.sleep(min(30.0, 1.0 + len(text) / 100_000))

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        """Whatever Ray's client raises for an answer it does not understand, as a ClusterError."""
        try:
            yield
        except DubError:
            raise
        except (RuntimeError, ValueError, KeyError, TypeError) as e:
            if "404" in str(e) and "does not exist" in str(e):
                raise ClusterError(
                    f"There is no such job at {self.address}; `dub status --address ...` lists them."
                ) from e
            raise ClusterError(f"The cluster at {self.address} does not do as asked: {_first_line(str(e))}") from e


def job_of(details: Any) -> ClusterJob:
    """A job from what Ray's Jobs API tells of it (`ray.job_submission.JobDetails`)."""
    state = _STATES.get(str(getattr(details.status, "value", details.status)), "failed")
    status = details.driver_exit_code
    if state == "finished":
        status = 0
    elif state == "stopped":
        status = 130
    elif state == "failed":
        if status == REVIEW:  # for Ray every status but 0 is a failure
            state = "finished"
        elif status not in (1, 2, 130):
            status = 1
    else:
        status = None
    metadata = details.metadata or {}
    return ClusterJob(
        id=details.submission_id,
        state=state,
        exit_status=status,
        started_s=details.start_time / 1000 if details.start_time else None,
        ended_s=details.end_time / 1000 if details.end_time else None,
        out=metadata.get("out", ""),
        manifest=metadata.get("manifest", ""),
        message=_first_line(details.message or "").split(", last available logs")[0],
    )


def _first_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[0]
