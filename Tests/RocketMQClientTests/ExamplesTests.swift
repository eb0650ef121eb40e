import Foundation
import RocketMQClient
import RocketMQProtocol
import Testing

/// Each example, run as a user would run it.
@Suite(.serialized) struct ExamplesTests {
    /// Where the package's programs were built: beside the tests.
    static var programs: URL? {
        #if os(Linux)
            let tests = URL(fileURLWithPath: CommandLine.arguments[0]).resolvingSymlinksInPath()
            return tests.deletingLastPathComponent()
        #else
            return nil
        #endif
    }

    /// On a thread of its own: those that tasks run on are few, and other tests need them.
    static func run(_ program: String, _ arguments: [String]) async throws -> (status: Int32, output: String) {
        try await withCheckedThrowingContinuation { continuation in
            Thread.detachNewThread { continuation.resume(with: Result { try runAndWait(program, arguments) }) }
        }
    }

    private static func runAndWait(_ program: String, _ arguments: [String]) throws -> (status: Int32, output: String) {
        let process = Process()
        process.executableURL = programs?.appendingPathComponent(program)
        process.arguments = arguments
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = pipe
        try process.run()
        let output = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return (process.terminationStatus, String(decoding: output, as: UTF8.self))
    }

    @Test(arguments: [
        ("example-quickstart", "all 10 messages were sent and consumed"), ("example-ordered", "every order's steps came in their order"),
        ("example-batch", "sent 10000 messages one by one"), ("example-service", "all orders were billed"),
        ("example-litepull", "all 20 messages were read and committed"),
        ("example-trace", "now look: mqadmin queryMsgTraceById"),
    ])
    func anExampleRuns(_ program: String, _ last: String) async throws {
        try await withCluster { cluster in
            // Twice: what the first run left behind must not disturb the second.
            for _ in 0..<2 {
                let (status, output) = try await Self.run(program, ["--namesrv", cluster.address])
                #expect(status == 0 && output.contains(last), "\(output)")
            }
        }
    }

    @Test("A line is there when it is printed, not when the program ends", .timeLimit(.minutes(3)))
    func linesInAPipe() async throws {
        try await withCluster { cluster in
            let process = Process()
            process.executableURL = Self.programs?.appendingPathComponent("example-ordered")
            process.arguments = ["--namesrv", cluster.address, "--follow", "LinesInAPipe", "--seconds", "600"]
            let pipe = Pipe()
            process.standardOutput = pipe
            let (lines, line) = AsyncStream.makeStream(of: String.self)
            pipe.fileHandleForReading.readabilityHandler = { handle in
                let bytes = handle.availableData
                if bytes.isEmpty { line.finish() } else { line.yield(String(decoding: bytes, as: UTF8.self)) }
            }
            try process.run()
            // What is never printed ends with the program; killed, it prints nothing more.
            let expiry = Task {
                try await ContinuousClock().sleep(for: .seconds(90))
                kill(process.processIdentifier, SIGKILL)
            }
            let producer = DefaultMQProducer(group: "lines", nameServers: [cluster.address])
            try await producer.start()
            try await producer.send(Message(topic: "LinesInAPipe", text: "one line"))
            await producer.shutdown()
            var seen = ""
            for await part in lines {
                seen += part
                if seen.contains("one line\n") { break }
            }
            expiry.cancel()
            kill(process.processIdentifier, SIGKILL)
            #expect(seen.contains("offset 0: one line\n"))
        }
    }

    @Test func withoutAServerTheExampleSaysSo() async throws {
        let (status, output) = try await Self.run("example-quickstart", ["--namesrv", try unusedAddress()])
        #expect(status == 1 && output.contains("check that mqnamesrv runs at"), "\(output)")
    }
}
