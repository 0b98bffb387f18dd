"""What Python programs call; the command line calls nothing else. `import dubbing` offers these names.

    check, plan, run                     dubbing.api.jobs
    score                                dubbing.api.scores
    verify                               dubbing.api.proof
    rerun, export, serve_review          dubbing.api.reviewed
    open_results                         dubbing.api.results
    cast                                 dubbing.api.cast

Nothing here prints, reads arguments, ends the process or handles signals. Every error is a `dubbing.DubError` with one
sentence or two; `InputError` and what lies under it say that something given was wrong.
"""
