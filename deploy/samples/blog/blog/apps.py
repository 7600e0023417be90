import os

from django.apps import AppConfig
from django.db.models.signals import post_migrate


def ensure_admin(using, **kwargs):
    """Makes the user `admin` when ADMIN_PASSWORD is set and there is none; an existing one keeps its password."""
    from django.contrib.auth import get_user_model

    password = os.environ.get("ADMIN_PASSWORD")
    users = get_user_model().objects.db_manager(using)
    if password and not users.filter(username="admin").exists():
        users.create_superuser("admin", password=password)


class BlogConfig(AppConfig):
    name = "blog"

    def ready(self):
        post_migrate.connect(ensure_admin, sender=self)
