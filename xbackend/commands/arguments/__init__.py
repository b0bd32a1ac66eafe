"""What each command of the command line takes: one file a command, in the order of the help."""
