"""Code that stages share, one file per subject: cuts, speech, faces, windows, idle motion. It imports no stage."""
