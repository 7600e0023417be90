"""A few posts, so that the first look is not at an empty page. An existing blog is left alone."""

from datetime import datetime, timezone

from django.db import migrations

POSTS = [
    (
        "hello-from-a-container",
        "Hello from a container",
        "This page is a Django project that became a running site by one git push. Here is what happened on the way.",
        datetime(2025, 3, 2, 9, 0, tzinfo=timezone.utc),
        ["deploying"],
        """The push carried a commit and nothing else: no Dockerfile, no build script, no pipeline file. Five workers took it from there.

The first one unpacked the commit. The second found requirements.txt and .python-version, and said: Python 3.13. The third installed the packages into a layer that is kept until the list of packages changes, copied the code on top and collected the static files.

The fourth ran the release command, started a container beside the old one and asked it for /healthz until the answer was 200. Only then did the fifth tell the router, look at the new version through it, and let the old one finish its last requests.

If any of them had failed, the push would have been refused and the old version would still be serving.""",
    ),
    (
        "where-do-my-comments-go",
        "Where do my comments go?",
        "Until a database is linked this blog keeps its data in SQLite inside its container. That is handy, and it has a price.",
        datetime(2025, 3, 9, 9, 0, tzinfo=timezone.utc),
        ["deploying", "databases"],
        """A container's files end with the container, and every deploy makes a new one. So this blog prepares its SQLite file when it starts: tables first, then the posts you are reading.

Leave a comment below and it is there, until the next deploy. With three web processes there are three files, and each has its own comments.

Set DATABASE_URL to a PostgreSQL server and all of that is over: the release command migrates the one database before any new process starts, and the processes share it.""",
    ),
    (
        "three-files-are-enough",
        "Three files are enough",
        "What a Django project needs to be deployed: the list of its packages, the command that serves it, and the version of Python it wants.",
        datetime(2025, 3, 16, 9, 0, tzinfo=timezone.utc),
        ["django", "deploying"],
        """requirements.txt names the packages, each with its exact version, so that today's build and next year's are the same.

Procfile names the processes. The line that begins with web: is the one the router talks to; it has to listen on $PORT. The line that begins with release: runs once per deploy, before the new version gets any traffic.

.python-version is one line long. If the server cannot offer that version it says so in the push, together with the ones it has.

Everything else is read from the environment, and nothing in there has to be set for the first start.""",
    ),
    (
        "static-files-without-a-bucket",
        "Static files without a bucket",
        "The style sheet of this page comes from the same process as the page, is compressed, and may be cached for ever.",
        datetime(2025, 3, 23, 9, 0, tzinfo=timezone.utc),
        ["django"],
        """During the build, collectstatic copies every style sheet and picture into one folder, gives each a name that contains a digest of its content, and compresses it.

WhiteNoise serves that folder from within the application. As a name never means two different contents, browsers may keep what they got for ten years.

For a small site that is the whole story. For a big one, put a cache in front.""",
    ),
]
NAMES = {"deploying": "Deploying", "databases": "Databases", "django": "Django"}


def write(apps, schema_editor):
    using = schema_editor.connection.alias
    posts = apps.get_model("blog", "Post").objects.using(using)
    if posts.exists():
        return
    tags = {slug: apps.get_model("blog", "Tag").objects.using(using).create(slug=slug, name=name) for slug, name in NAMES.items()}
    for slug, title, summary, published_at, about, body in POSTS:
        posts.create(slug=slug, title=title, summary=summary, body=body, published_at=published_at).tags.set([tags[tag] for tag in about])


class Migration(migrations.Migration):
    dependencies = [("blog", "0001_initial")]
    operations = [migrations.RunPython(write, migrations.RunPython.noop)]
