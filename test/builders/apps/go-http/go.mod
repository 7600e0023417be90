module example.com/me/hello

go 1.24
