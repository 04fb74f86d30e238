package kvtest

import (
	"fmt"

	"granary/kv"
)

// show prints an item for a failure, without the bulk of its value.
func show(i kv.Item) string {
	value := string(i.Value)
	if len(value) > 40 {
		value = fmt.Sprintf("%s… %d bytes", value[:40], len(value))
	}
	return fmt.Sprintf("{%q %q value %q version %s expires %v}", i.Partition, i.Sort, value, i.Version, i.Expires)
}
