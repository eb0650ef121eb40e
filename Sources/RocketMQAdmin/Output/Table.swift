import RocketMQProtocol

/// Rows under titles, for people as aligned columns, for programs as a JSON array of objects.
struct Table {
    struct Column {
        /// As the reference writes it: `#Broker Name`.
        var title: String
        /// The member's name in JSON.
        var key: String
        var isRight = false

        init(_ title: String, _ key: String, right isRight: Bool = false) {
            self.title = title
            self.key = key
            self.isRight = isRight
        }
    }

    /// A value as people read it, and as programs do.
    struct Cell: ExpressibleByStringLiteral {
        var text: String
        var json: JSONValue

        init(_ text: String, json: JSONValue) {
            self.text = text
            self.json = json
        }

        init(_ text: String) { self.init(text, json: .string(text)) }
        init(stringLiteral value: String) { self.init(value) }
        init(_ number: some BinaryInteger) { self.init("\(number)", json: .integer(Int64(clamping: number))) }
        init(_ number: Double, digits: Int) { self.init(NumberText.decimal(number, digits: digits), json: .number(number)) }
    }

    let columns: [Column]
    private(set) var rows: [[Cell]] = []

    init(_ columns: [Column]) { self.columns = columns }

    /// Adds a row, a cell a column.
    mutating func add(_ row: Cell...) { add(row) }

    mutating func add(_ row: [Cell]) {
        precondition(row.count == columns.count, "a row has as many cells as the table has columns")
        rows.append(row)
    }

    /// The titles and rows, columns two blanks apart, without blanks at the ends of lines.
    var text: String {
        let titles = columns.map(\.title)
        let widths = columns.indices.map { index in
            rows.reduce(titles[index].count) { max($0, $1[index].text.count) }
        }
        func line(_ texts: [String]) -> String {
            var line = ""
            for (index, text) in texts.enumerated() {
                let padding = String(repeating: " ", count: widths[index] - text.count)
                line += (index > 0 ? "  " : "") + (columns[index].isRight ? padding + text : text + padding)
            }
            while line.last == " " { line.removeLast() }
            return line + "\n"
        }
        return line(titles) + rows.map { line($0.map { Printable.line($0.text) }) }.joined()
    }

    var json: JSONValue {
        .array(
            rows.map { row in
                .object(JSONObject(zip(columns, row).map { JSONObject.Member(key: .string($0.key), value: $1.json) }))
            })
    }
}

/// Labels and values below each other.
struct Listing {
    private var lines: [(label: String, value: String)] = []
    let width: Int

    /// - Parameter width: of the labels, at least.
    init(width: Int = 20) { self.width = width }

    mutating func add(_ label: String, _ value: String) { lines.append((label, value)) }
    mutating func add(_ label: String, _ value: some BinaryInteger) { lines.append((label, "\(value)")) }

    var text: String {
        lines.map { $0.label + String(repeating: " ", count: max(0, width - $0.label.count)) + " " + $0.value + "\n" }.joined()
    }
}
