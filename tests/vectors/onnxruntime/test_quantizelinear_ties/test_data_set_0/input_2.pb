BzJ
