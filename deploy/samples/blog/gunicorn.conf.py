"""Read by gunicorn before it forks: what all workers of a container must share."""

import os
import secrets

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "blogsite.settings")
os.environ.setdefault("SECRET_KEY", secrets.token_urlsafe(50))

accesslog = "-"
access_log_format = '%({x-forwarded-for}i)s "%(r)s" %(s)s %(b)s bytes %(M)s ms'
worker_tmp_dir = "/dev/shm"
graceful_timeout = 20


def on_starting(server):
    """A SQLite file lives and dies with its container: the `release` command, which runs in another one, cannot prepare it."""
    import django
    from django.core.management import call_command
    from django.db import connections

    django.setup()
    if connections["default"].vendor == "sqlite":
        server.log.info("SQLite: migrating %s", connections["default"].settings_dict["NAME"])
        call_command("migrate", interactive=False, verbosity=0)
        connections.close_all()
