// What all examples share: their command line, and what they say to a wrong one.

@preconcurrency import Glibc

/// The options of an example, read from its command line. A wrong call is explained, and ends the program with 2.
public struct Options: Sendable {
    private let program: String
    private let usage: String
    private var values: [String: String] = [:]
    private var flags: Set<String> = []
    /// What stands there beside the options.
    public private(set) var words: [String] = []

    /// - Parameters:
    ///   - usage: the lines for `--help`, the first of them beginning with the program's name.
    ///   - valued: options that a value follows.
    ///   - flags: options without one.
    ///   - takesWords: whether anything else may stand there.
    public init(usage: String, valued: [String], flags known: [String] = [], takesWords: Bool = false) {
        self.usage = usage
        program = String(usage.prefix { $0 != " " })
        // Whoever reads the lines from a pipe or a file gets each when it is printed, also of a program that is killed later.
        setvbuf(stdout, nil, _IOLBF, 0)
        var rest = CommandLine.arguments.dropFirst()
        while let word = rest.popFirst() {
            if word == "--help" || word == "-h" {
                print("Usage: \(usage)")
                exit(0)
            } else if valued.contains(word) {
                guard let value = rest.popFirst(), !value.hasPrefix("--") else { complain("\(word) needs a value after it") }
                values[word] = value
            } else if known.contains(word) {
                flags.insert(word)
            } else if word.hasPrefix("--") {
                let all = (valued + known).joined(separator: ", ")
                complain("unknown option \(word); there are \(all)")
            } else if takesWords {
                words.append(word)
            } else {
                complain("\"\(word)\" is none of its options")
            }
        }
    }

    /// The value of an option that was given.
    public subscript(_ name: String) -> String? { values[name] }

    public func has(_ flag: String) -> Bool { flags.contains(flag) }

    /// The name server to connect to: that of `--namesrv`, or the one of this machine.
    public var nameServer: String {
        let address = values["--namesrv"] ?? "127.0.0.1:9876"
        for server in address.split(separator: ";", omittingEmptySubsequences: false) {
            let port = server.split(separator: ":").last.flatMap { UInt16($0) }
            guard server.contains(":"), server.first != ":", port != nil else {
                complain("--namesrv must be HOST:PORT, such as 127.0.0.1:9876, not \"\(address)\"")
            }
        }
        return address
    }

    /// The whole number of an option; `fallback` when it was not given.
    public func number(_ name: String, in range: ClosedRange<Int>, unlessGiven fallback: Int) -> Int {
        guard let text = values[name] else { return fallback }
        guard let number = Int(text), range.contains(number) else {
            complain("\(name) must be a whole number from \(range.lowerBound) to \(range.upperBound), not \"\(text)\"")
        }
        return number
    }

    /// Says what is wrong with the call, and ends the program.
    public func complain(_ problem: String) -> Never {
        let text = "\(program): \(problem)\nUsage: \(usage)\n"
        fflush(nil)
        _ = text.utf8.withContiguousStorageIfAvailable { write(2, $0.baseAddress, $0.count) }
        exit(2)
    }
}
