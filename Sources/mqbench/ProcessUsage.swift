import CMallocCount
import Glibc

/// What this process has used so far.
struct ProcessUsage {
    var cpuMicroseconds: Int64
    var peakMemoryKilobytes: Int
    var allocations: Int64

    static func now() -> ProcessUsage {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        let cpu = Int64(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1_000_000 + Int64(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec)
        return ProcessUsage(cpuMicroseconds: cpu, peakMemoryKilobytes: usage.ru_maxrss, allocations: cmalloccount_read())
    }
}
