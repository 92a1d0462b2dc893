class RallyCred < Formula
  desc "Signs you in to Rally once, and gives your tools the token"
  homepage "@ADDRESS@"
  url "@FILE@"
  sha256 "@SHA256@"
  license any_of: ["MIT", "Apache-2.0"]

  depends_on "rust" => :build

  def install
    %w[daemon client client/commands].each { |part| system "cargo", "install", *std_cargo_args(path: part) }
    man1.install Dir["man/*.1"]
    man5.install Dir["man/*.5"]
    man7.install Dir["man/*.7"]
    man8.install Dir["man/*.8"]
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/rally-cred --version")
  end
end
