
// What the page does once all of it is there.
startCohorts();
startCopies();
startMatrix(read("matrix-data"));
show(read("page-data").start);
