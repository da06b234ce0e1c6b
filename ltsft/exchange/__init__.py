"""What comes from strangers, or goes to them: other projects' files."""
