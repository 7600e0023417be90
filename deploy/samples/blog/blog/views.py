from django.contrib import messages
from django.contrib.syndication.views import Feed
from django.core.paginator import Paginator
from django.db import connection
from django.db.models import Count, Q
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse_lazy
from django.views.decorators.http import require_safe

from .forms import CommentForm
from .models import Post, Tag

SHOWN_COMMENTS = Count("comments", filter=Q(comments__hidden=False))


@require_safe
def post_list(request, slug=None):
    tag = get_object_or_404(Tag, slug=slug) if slug else None
    posts = Post.objects.published().prefetch_related("tags").annotate(comment_count=SHOWN_COMMENTS)
    if tag:
        posts = posts.filter(tags=tag)
    # said again: Django drops a model's own ordering from a query that groups
    page = Paginator(posts.order_by("-published_at", "-pk"), 5).get_page(request.GET.get("page"))
    return render(request, "blog/post_list.html", {"page": page, "tag": tag})


def post_detail(request, slug):
    post = get_object_or_404(Post.objects.published().prefetch_related("tags"), slug=slug)
    form = CommentForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        form.instance.post = post
        comment = form.save()
        messages.success(request, "Thank you, your comment is shown below.")
        return redirect(f"{post.get_absolute_url()}#comment-{comment.pk}")
    comments = post.comments.filter(hidden=False)
    return render(request, "blog/post_detail.html", {"post": post, "comments": comments, "form": form}, status=422 if form.errors else 200)


@require_safe
def healthz(request):
    """200 when this process can read its database and the tables are there."""
    Post.objects.exists()
    return HttpResponse(f"ok ({connection.vendor})\n", content_type="text/plain")


class LatestPosts(Feed):
    title = "Notes from the berth"
    link = reverse_lazy("blog:list")
    description = "The latest posts"

    def items(self):
        return Post.objects.published()[:20]

    def item_description(self, item):
        return item.summary

    def item_pubdate(self, item):
        return item.published_at
