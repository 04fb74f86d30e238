package spans

// Most is how many spans a root may have below it.
const Most = most
