"""Run a manifest, say what happens, and print one line for every dub.

python examples/api/run_a_manifest.py MANIFEST OUT [ENGINE]      ENGINE: ray (all cores, the default) or local

Interrupt it, and run it again: it goes on where it was.
"""

import sys

import dubbing


def main(manifest: str, out: str, engine: str = "ray") -> int:
    """Returns what `dub run` would end with: 0 all well, 1 some shots failed, 2 wrong input, 3 some need review."""
    try:
        found = dubbing.check(manifest, out)
        for problem in found.problems:
            print(f"wrong: {problem}", file=sys.stderr)
        report = dubbing.run(manifest, out, engine=engine, on_event=tell)
    except dubbing.DubError as e:
        print(e, file=sys.stderr)
        return e.exit_code
    for dub in dubbing.open_results(out).dubs:
        print(f"{dub.title}/{dub.language}: {dub.counts}, {dub.needs_review} to review: {dub.master or dub.error}")
    return report.exit_code


def tell(event: dubbing.Event) -> None:
    """One line for every task that ends."""
    if event.kind in ("finished", "failed"):
        print(f"{event.kind} {event.task_id} after {event.seconds:.1f} s", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
