// HOT-PATH HELPER: your work in progress was MOVED to the git worktree /tmp/g (all your files are there). Work ONLY in /tmp/g.
