"""The stream's vocabulary and its rules: pure, without socket, thread or clock."""
