import RocketMQBase

/// The outcome of a measurement.
struct Report: Sendable {
    var title: String
    /// What was measured, as names and values.
    var parameters: [(String, String)]
    var messages: UInt64
    var failed: UInt64
    var firstError: String?
    var seconds: Double
    var latencies: LatencyHistogram
    var cpuMicroseconds: Int64
    /// `nil` when they were not counted.
    var allocations: Int64?
    var peakMemoryKilobytes: Int
    var bodySize: Int?
    /// Figures of this measurement alone.
    var more: [(String, String)] = []
    /// Bytes of message records that came.
    var bytesRead = 0

    init(
        title: String, parameters: [(String, String)], recorders: [Recorder], seconds: Double, before: ProcessUsage, after: ProcessUsage,
        countsAllocations: Bool, bodySize: Int? = nil
    ) {
        self.title = title
        self.parameters = parameters
        self.seconds = seconds
        self.bodySize = bodySize
        (messages, failed, latencies) = (0, 0, LatencyHistogram())
        for totals in recorders.map({ $0.read() }) {
            messages += totals.messages
            failed += totals.failed
            latencies.merge(totals.latencies)
            firstError = firstError ?? totals.firstError
        }
        cpuMicroseconds = after.cpuMicroseconds - before.cpuMicroseconds
        allocations = countsAllocations ? after.allocations - before.allocations : nil
        peakMemoryKilobytes = after.peakMemoryKilobytes
    }

    private var perSecond: Double { seconds > 0 ? Double(messages) / seconds : 0 }
    private func perMessage(_ value: Int64) -> Double { messages == 0 ? 0 : Double(value) / Double(messages) }

    private var figures: [(name: String, value: String)] {
        var figures: [(String, String)] = [
            ("messages", "\(messages)"), ("failed", "\(failed)"), ("seconds", decimal(seconds, 2)),
            ("messagesPerSecond", decimal(perSecond, 0)),
        ]
        if let bodySize { figures.append(("mebibytesPerSecond", decimal(perSecond * Double(bodySize) / 1_048_576, 1))) }
        figures += [
            ("p50Microseconds", microseconds(50)), ("p99Microseconds", microseconds(99)), ("p99.9Microseconds", microseconds(99.9)),
            ("maxMicroseconds", decimal(Double(latencies.maximum) / 1000, 1)),
            ("cpuMicrosecondsPerMessage", decimal(perMessage(cpuMicroseconds), 2)),
        ]
        if let allocations { figures.append(("allocationsPerMessage", decimal(perMessage(allocations), 1))) }
        figures.append(("peakMemoryMebibytes", decimal(Double(peakMemoryKilobytes) / 1024, 1)))
        return figures + more
    }

    private func microseconds(_ percent: Double) -> String { decimal(Double(latencies.percentile(percent)) / 1000, 1) }

    /// For people.
    var text: String {
        var lines = ["\(title): " + parameters.map { "\($0.0) \($0.1)" }.joined(separator: ", ")]
        for (name, value) in figures {
            lines.append("  " + name + String(repeating: " ", count: max(1, 28 - name.utf8.count)) + value)
        }
        if let firstError { lines.append("  first failure: \(firstError)") }
        return lines.joined(separator: "\n") + "\n"
    }

    /// For programs.
    var json: String {
        var members = parameters.map { "\(quoted($0.0)):\(Double($0.1) == nil ? quoted($0.1) : $0.1)" }
        members += figures.map { "\(quoted($0.name)):\($0.value)" }
        if let firstError { members.append("\"firstError\":\(quoted(firstError))") }
        return "{\"benchmark\":\(quoted(title)),\(members.joined(separator: ","))}\n"
    }

    private func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": result += "\\\(scalar)"
            case "\u{0}"..."\u{1F}": result += " "
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}

/// A number with so many digits after the point.
func decimal(_ value: Double, _ digits: Int) -> String {
    guard value.isFinite, abs(value) < 1e15 else { return "0" }
    var scale = 1.0
    for _ in 0..<digits { scale *= 10 }
    let scaled = Int64((abs(value) * scale).rounded())
    let sign = value < 0 && scaled != 0 ? "-" : ""
    guard digits > 0 else { return sign + String(scaled) }
    let fraction = String(scaled % Int64(scale))
    return sign + String(scaled / Int64(scale)) + "." + String(repeating: "0", count: digits - fraction.utf8.count) + fraction
}
