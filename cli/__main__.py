"""`python -m deedbook.cli`: the `deedbook` command where no script of that name is on the path."""

from deedbook.cli.main import main

main()
