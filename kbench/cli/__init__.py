"""The command line. Each command calls one function of the package and prints what it returns.

Exit codes: 0 done; 1 the job ran and did not conclude; 2 the input was wrong; 3 this machine lacks something.
"""

from __future__ import annotations

import sys

import click

from kbench import __version__
from kbench.cli.bisections import bisect, replay, report
from kbench.cli.cache import cache
from kbench.cli.doctor import doctor
from kbench.cli.exchange import git_log, mail, pack, table, unpack
from kbench.cli.judge import judge
from kbench.cli.kernels import boot, build, minimise, repro
from kbench.cli.lab import lab
from kbench.cli.output import say
from kbench.cli.preflight import preflight
from kbench.cli.study import study
from kbench.cli.sweep import sweep
from kbench.errors import KbenchError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="kbench")
def cli() -> None:
    """Find the commit that broke (or fixed) a kernel, and say how sure that is."""


for command in (doctor, cache, lab, build, boot, repro, minimise, preflight, bisect, report, replay, judge, study, sweep):
    cli.add_command(command)
for command in (pack, unpack, git_log, mail, table):
    cli.add_command(command)


def main() -> None:
    """Run the command line; the process's exit code says how it went."""
    try:
        code = cli.main(standalone_mode=False)
    except KbenchError as error:
        say(f"kbench: {error}", err=True)
        code = error.exit_code
    except click.ClickException as error:
        error.show()
        code = 2
    except (click.Abort, KeyboardInterrupt):
        click.echo("kbench: stopped; start it again to go on", err=True)
        code = 130
    except BrokenPipeError:
        sys.stderr.close()
        code = 0
    except OSError as error:
        click.echo(f"kbench: output: expected to write it, {error.strerror or error}; free some room", err=True)
        code = 3
    sys.exit(code or 0)
