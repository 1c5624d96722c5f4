"""One module per subcommand: flags in, exit code out.

0: done; 1: the files are wrong, or something that the command needs is not there; 2: the command was called wrongly.
A command reads flags, calls what does the work and prints; it decides nothing about policies or traffic.
"""
