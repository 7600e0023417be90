from django.contrib import admin
from django.urls import include, path

admin.site.site_header = "Blog"
urlpatterns = [path("admin/", admin.site.urls), path("", include("blog.urls"))]
