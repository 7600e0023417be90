from django import forms

from .models import Comment


class CommentForm(forms.ModelForm):
    class Meta:
        model = Comment
        fields = ["name", "text"]
        labels = {"text": "Comment"}
        widgets = {"name": forms.TextInput(attrs={"autocomplete": "name"}), "text": forms.Textarea(attrs={"rows": 4})}
