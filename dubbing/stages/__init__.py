"""One stage a file: what each makes of its arguments, and in which folder it leaves that."""
