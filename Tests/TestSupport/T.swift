package func t() {}
