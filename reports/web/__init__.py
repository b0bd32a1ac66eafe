"""One self-contained page of charts, tables and texts, by Jinja2 and Altair."""
