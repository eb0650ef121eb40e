import Glibc

/// What a program needs of its surroundings.
public enum CurrentProcess {
    /// The words of the command line after the program's name.
    public static var arguments: [String] { Array(CommandLine.arguments.dropFirst()) }

    public static func environment(_ name: String) -> String? {
        getenv(name).map { String(cString: $0) }
    }

    /// The user's home directory, `/` when there is none.
    public static var homeDirectory: String { environment("HOME").flatMap { $0.isEmpty ? nil : $0 } ?? "/" }

    /// Ends the program with what was printed to standard output written out.
    public static func exit(_ code: Int32) -> Never {
        fflush(nil)
        Glibc.exit(code)
    }
}

/// Output for people: to the terminal, at once.
public enum Console {
    /// Writes to standard output as it is, without a line end.
    public static func write(_ text: String) { write(text, to: STDOUT_FILENO) }
    /// Writes a line to standard error.
    public static func complain(_ line: String) { write(line + "\n", to: STDERR_FILENO) }

    private static func write(_ text: String, to descriptor: Int32) {
        let bytes = Array(text.utf8)
        var start = 0
        while start < bytes.count {
            let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress! + start, $0.count - start) }
            if count > 0 { start += count } else if errno != EINTR { return }
        }
    }
}

extension CurrentProcess {
    /// Begins this program anew, with the same arguments and a variable of the environment that only counts from the start. Returns
    /// when the system does not allow it.
    public static func startAgain(withEnvironment name: String, _ value: String) {
        setenv(name, value, 1)
        var words = CommandLine.arguments.map { strdup($0) } + [nil]
        // Its own path where there still is one: `top` and `pgrep` show the last name of it.
        var path = [CChar](repeating: 0, count: 4097)
        if readlink("/proc/self/exe", &path, path.count - 1) > 0 { execv(path, &words) }
        execv("/proc/self/exe", &words)
    }

    /// Has the C library ask for large pages for what it allocates: with hundreds of thousands of objects the processor spends much
    /// of its time on finding where small pages are. It asks for them where the first thread's memory is, not where it keeps that of
    /// others, so all threads share one arena. It reads both wishes at the start of a process alone, so the program begins anew
    /// once; whoever has set `GLIBC_TUNABLES` is left alone.
    public static func useLargePages() {
        guard environment("GLIBC_TUNABLES") == nil else { return }
        startAgain(withEnvironment: "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1:glibc.malloc.arena_max=1")
    }

    /// Files and connections that this process may have open at a time.
    public static var openFileLimit: Int {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 1024 }
        return Int(clamping: limit.rlim_cur)
    }

    /// Raises that limit as far as a process may on its own, and returns what it is now.
    public static func raiseOpenFileLimit() -> Int {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return openFileLimit }
        if limit.rlim_cur < limit.rlim_max {
            limit.rlim_cur = limit.rlim_max
            _ = setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        }
        return openFileLimit
    }

    /// Of them, so many are for connections; the others are kept for files, which must not fail because many clients came.
    public static func connections(within limit: Int) -> Int { limit - max(limit / 4, min(256, limit / 2)) }

    /// Processors that this process may use.
    public static var processorCount: Int { max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))) }

    /// The machine's name.
    public static var hostName: String {
        var name = [CChar](repeating: 0, count: 256)
        guard gethostname(&name, name.count - 1) == 0 else { return "localhost" }
        return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// By how many seconds local time is ahead of UTC at a time in seconds since 1970.
    public static func localOffsetSeconds(at seconds: Int64) -> Int64 {
        var moment = time_t(seconds)
        var local = tm()
        return localtime_r(&moment, &local) == nil ? 0 : Int64(local.tm_gmtoff)
    }
}
