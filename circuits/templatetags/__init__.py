"""What templates of the admin's own pages need of circuits."""
