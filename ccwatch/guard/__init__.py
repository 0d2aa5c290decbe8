"""Guard: watches a stream unattended, and sees to it that alerts reach people."""
