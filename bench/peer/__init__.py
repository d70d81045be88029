"""Programs that run in the benches' own venv, of other people's libraries: they import nothing of this project.

Each prints `ready` once it has imported and prepared what it needs, waits for a line, does its work, and prints one JSON object.
"""
