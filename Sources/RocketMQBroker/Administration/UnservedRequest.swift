import RocketMQProtocol

/// Requests of the reference that this broker does not answer, and why: its refusals say it.
enum UnservedRequest {
    /// The remark of the refusal: as the reference begins it, with the reason where there is one.
    static func remark(_ code: Int32) -> String {
        let refusal = " request type \(code) not supported"
        guard let family = families.first(where: { $0.has(code) }) else { return refusal }
        return "\(refusal): \(RequestCode(rawValue: code)) \(family.reason)"
    }

    private struct Family {
        var codes: [ClosedRange<Int32>]
        var reason: String

        init(_ codes: [ClosedRange<Int32>], _ reason: String) {
            self.codes = codes
            self.reason = reason
        }

        /// Codes beyond 16 bits look different in a binary header.
        func has(_ code: Int32) -> Bool {
            codes.contains {
                $0.contains(code)
                    || RequestCode(rawValue: $0.lowerBound).binaryForm <= code && code <= RequestCode(rawValue: $0.upperBound).binaryForm
            }
        }
    }

    private static let families = [
        Family([50...53, 3001...3010], "belongs to access control, which this broker does not have"),
        Family([60...61], "belongs to the reference's timer files: mqadmin delayStatus tells of timed messages here"),
        Family(
            [100...106, 205...206, 216...217, 219...219, 224...224, 304...304, 311...313, 318...319, 322...322, 327...327, 901...901],
            "is for name servers: send it to one"),
        Family([39...40, 220...221, 326...326], "is sent by brokers to clients"),
        Family(
            [353...353], "belongs to forbidden groups of release 5, which this broker does not have: updateSubGroup -s false stops a group"),
        Family([354...355], "belongs to RocksDB, which this broker does not use"),
        Family([400...402, 200_050...200_056, 200_151...200_151], "belongs to pop consumption, which this broker does not have"),
        Family([513...513], "belongs to static topics, which this broker does not have"),
        Family([902...908, 1001...1018], "belongs to replication and controllers, which this broker does not have"),
        Family([2001...2004], "belongs to cold data flow control, which this broker does not have"),
    ]
}
