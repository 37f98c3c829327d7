"""Small programs that run inside a server on request. They import nothing of kvtop: the server's Python runs them."""
