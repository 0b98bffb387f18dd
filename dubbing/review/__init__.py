"""The reviewer's desk: the worst shots first, what was decided of them, and what follows from it.

`library` reads an output folder, `proxy` and `curves` make what the page plays and draws, `server` serves it,
`rerun` makes new takes, `export` masters what decisions changed and writes lists of it, `report` a page to mail.
"""
