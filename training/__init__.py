"""The training half: a user's own text to a published model. Takes from service only what both halves must agree on."""
