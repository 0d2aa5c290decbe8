"""Guard: watches a stream unattended, and makes sure that alerts reach people."""
