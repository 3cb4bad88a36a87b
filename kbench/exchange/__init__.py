"""A bisection in the forms other people and programs take: one file, `git bisect log`, mail, tables.

Read `archive.pack` and `archive.unpack`, `gitlog.git_log`, `mail.mail_report` and `tabulate.table`.
"""
