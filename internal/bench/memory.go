package bench

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
)

// resetPeak begins a new measurement of the peak, where the system can.
func resetPeak() {
	runtime.GC()
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0o600) // only Linux has it
}

// peakRSS is the most memory this process had, in MiB.
func peakRSS() float64 {
	if n := statusField("self", "VmHWM:"); n > 0 {
		return n
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.Sys) / (1 << 20)
}

// residentOf is the memory of another process in MiB; 0 where it cannot be read.
func residentOf(pid int) float64 { return statusField(strconv.Itoa(pid), "VmRSS:") }

func statusField(process, name string) float64 {
	data, err := os.ReadFile("/proc/" + process + "/status")
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(data) {
		if rest, ok := bytes.CutPrefix(line, []byte(name)); ok {
			f := bytes.Fields(rest)
			if len(f) > 0 {
				kib, _ := strconv.ParseFloat(string(f[0]), 64)
				return kib / 1024
			}
		}
	}
	return 0
}
