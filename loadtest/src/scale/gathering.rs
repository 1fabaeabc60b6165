//! How a process gathers what it sends to a queue (aws/src/sqs/lane.rs): between two sends there is a minimum time,
//! unless the gathered envelopes fill an SQS message. An envelope that comes after a quiet time does not wait.

use rand::Rng;

use super::inputs::Aws;

/// The most bytes of an SQS message, and the bytes that each envelope in it takes in addition to its own.
const CHUNK: f64 = 64.0 * 1024.0;
const LENGTH: f64 = 7.0;

/// One sender to any queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gathering {
    /// The least seconds from one send to the next.
    every: f64,
    /// Envelopes that fill an SQS message.
    full: f64,
}

/// How long envelopes wait to be sent: a share of them waits between zero and the most, uniformly; the others do not
/// wait.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Wait {
    share: f64,
    most: f64,
}

impl Gathering {
    /// As the file has it.
    pub(crate) fn new(aws: &Aws) -> Self {
        Self { every: aws.send_every_ms / 1e3, full: CHUNK / (aws.envelope_bytes + LENGTH) }
    }

    /// Seconds from a send to the next, where `rate` envelopes come a second.
    fn interval(self, rate: f64) -> f64 {
        if rate * self.every > self.full { self.full / rate } else { self.every }
    }

    /// Envelopes in an SQS message, where `rate` come a second: those of the interval, or a single one after an
    /// interval without any.
    pub(crate) fn pack(self, rate: f64) -> f64 {
        let meanwhile = rate * self.interval(rate);
        meanwhile + (-meanwhile).exp()
    }

    /// How long they wait.
    pub(crate) fn wait(self, rate: f64) -> Wait {
        let interval = self.interval(rate);
        Wait { share: rate * interval / self.pack(rate), most: interval }
    }
}

impl Wait {
    /// The wait of one envelope, in seconds.
    pub(crate) fn sample(self, rng: &mut impl Rng) -> f64 {
        if self.share <= 0.0 {
            return 0.0;
        }
        // One random number decides whether it waits and, scaled to its part, how long.
        let chance = rng.random::<f64>() / self.share;
        if chance < 1.0 { self.most * chance } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::super::inputs::Service;
    use super::super::requests::Requests;
    use super::*;

    #[test]
    fn it_gathers_as_the_adapter_says_and_as_was_measured() {
        let service = Service::read(None).unwrap();
        let lane = include_str!("../../../aws/src/sqs/lane.rs");
        let pace = format!("const PACE: Duration = Duration::from_millis({});", service.aws.send_every_ms);
        assert!(lane.contains(&pace), "{pace}");
        assert!(include_str!("../../../aws/src/sqs/wire.rs").contains("const CHUNK: usize = 64 * 1024;"));
        let (gathering, requests) = (Gathering::new(&service.aws), Requests::read().unwrap());
        for rate in [100.0, 998.0] {
            let [sends, _] = requests.hop_requests(rate);
            assert!((gathering.pack(rate) * sends - 1.0).abs() < 0.1, "{rate}/s: {sends} sends an envelope");
        }
    }

    #[test]
    fn waits_are_those_of_a_sender_gone_through_by_hand() {
        let gathering = Gathering { every: 0.025, full: 245.0 };
        let mut rng = StdRng::seed_from_u64(1);
        for rate in [4.0, 40.0, 400.0, 40_000.0] {
            let (mut now, mut free, mut due) = (0.0, 0.0, false);
            let (mut waited, mut sends) = (0.0, 0.0);
            let n = 200_000;
            for _ in 0..n {
                now -= (1.0 - rng.random::<f64>()).ln() / rate;
                if due && now >= free {
                    (free, due) = (free + gathering.interval(rate), false);
                }
                if now >= free {
                    (free, sends) = (now + gathering.interval(rate), sends + 1.0);
                } else {
                    sends += f64::from(u8::from(!due));
                    (due, waited) = (true, waited + free - now);
                }
            }
            let model: f64 = (0..n).map(|_| gathering.wait(rate).sample(&mut rng)).sum();
            assert!((waited / model - 1.0).abs() < 0.03, "{rate}/s: {waited} s, not {model} s");
            assert!((f64::from(n) / sends / gathering.pack(rate) - 1.0).abs() < 0.01, "{rate}/s");
        }
        assert_eq!((gathering.pack(0.0), gathering.wait(0.0).sample(&mut rng)), (1.0, 0.0));
        assert!((gathering.pack(40_000.0) - 245.0).abs() < 1e-6);
    }
}
