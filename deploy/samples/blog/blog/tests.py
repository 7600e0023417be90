import os
from datetime import timedelta
from unittest import mock

from django.contrib.auth import get_user_model
from django.test import TestCase
from django.utils import timezone

from .apps import ensure_admin
from .models import Comment, Post, Tag


class BlogTests(TestCase):
    def test_first_posts_are_there_newest_first(self):
        response = self.client.get("/")
        self.assertContains(response, "Hello from a container")
        dates = [post.published_at for post in response.context["page"]]
        self.assertEqual(dates, sorted(dates, reverse=True))
        self.assertEqual(len(dates), 4)

    def test_drafts_and_future_posts_are_not_shown(self):
        Post.objects.create(title="Draft", slug="draft", summary="s", body="b")
        Post.objects.create(title="Soon", slug="soon", summary="s", body="b", published_at=timezone.now() + timedelta(days=1))
        page = self.client.get("/")
        self.assertNotContains(page, "Draft")
        self.assertNotContains(page, "Soon")
        self.assertEqual(self.client.get("/draft/").status_code, 404)
        self.assertEqual(self.client.get("/soon/").status_code, 404)

    def test_pages_of_five(self):
        for n in range(3):
            Post.objects.create(title=f"Old {n}", slug=f"old-{n}", summary="s", body="b", published_at=timezone.now() - timedelta(days=9000 + n))
        self.assertEqual(len(self.client.get("/").context["page"]), 5)
        self.assertContains(self.client.get("/?page=2"), "Old 2")
        self.assertEqual(self.client.get("/?page=none").status_code, 200)

    def test_tags_filter(self):
        tag = Tag.objects.get(slug="databases")
        self.assertContains(self.client.get(tag.get_absolute_url()), "Where do my comments go?")
        self.assertNotContains(self.client.get(tag.get_absolute_url()), "Three files are enough")
        self.assertEqual(self.client.get("/tags/none/").status_code, 404)

    def test_comment_is_kept_and_escaped(self):
        url = Post.objects.first().get_absolute_url()
        response = self.client.post(url, {"name": "Ada", "text": "<script>alert(1)</script>"}, follow=True)
        self.assertContains(response, "&lt;script&gt;")
        self.assertNotContains(response, "<script>alert")
        self.assertEqual(Comment.objects.get().name, "Ada")

    def test_empty_comment_is_refused(self):
        response = self.client.post(Post.objects.first().get_absolute_url(), {"name": "", "text": ""})
        self.assertEqual(response.status_code, 422)
        self.assertFalse(Comment.objects.exists())

    def test_hidden_comment_is_not_shown(self):
        post = Post.objects.first()
        post.comments.create(name="Spam", text="buy this", hidden=True)
        self.assertNotContains(self.client.get(post.get_absolute_url()), "buy this")

    def test_comment_needs_csrf_token(self):
        client = self.client_class(enforce_csrf_checks=True)
        self.assertEqual(client.post(Post.objects.first().get_absolute_url(), {"name": "a", "text": "b"}).status_code, 403)

    def test_healthz_and_feed(self):
        self.assertContains(self.client.get("/healthz"), "ok")
        self.assertContains(self.client.get("/feed.xml"), "<title>Hello from a container</title>")

    def test_admin_from_environment(self):
        with mock.patch.dict(os.environ, {"ADMIN_PASSWORD": "a long enough one"}):
            ensure_admin("default")
            ensure_admin("default")
        self.assertTrue(self.client.login(username="admin", password="a long enough one"))
        self.assertEqual(get_user_model().objects.count(), 1)
        self.assertContains(self.client.get("/admin/blog/post/"), "Hello from a container")
