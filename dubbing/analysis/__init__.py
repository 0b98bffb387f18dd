"""What stages work with, one subject a file: cuts, speech, faces, windows, idle motion. Knows no stage and no task."""
