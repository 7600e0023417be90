from django.urls import path

from . import views

app_name = "blog"
urlpatterns = [
    path("", views.post_list, name="list"),
    path("healthz", views.healthz, name="healthz"),
    path("feed.xml", views.LatestPosts(), name="feed"),
    path("tags/<slug:slug>/", views.post_list, name="tag"),
    path("<slug:slug>/", views.post_detail, name="post"),
]
