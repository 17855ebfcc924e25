module github.com/skshohagmiah/clusterkit

go 1.26
