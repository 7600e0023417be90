module example.com/newer

go 1.25.1
