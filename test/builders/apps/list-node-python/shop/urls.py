import subprocess

from django.http import HttpResponse
from django.urls import path


def index(request):
    said = subprocess.run(["node", "-p", "'node says ' + require('ms')(60000)"], capture_output=True, text=True, check=True)
    return HttpResponse(said.stdout)


urlpatterns = [path("", index)]
