#!/bin/sh
# The peer of bench_create.py: a pair of environments as an adminsys would script it, over one SSH connection.
#
#     create_pair.sh DIRECTORY SSH-WORD...       DIRECTORY is what bench_create.py wrote: see `Payload` there
#
# It asks nothing, compares nothing, and cannot go on after a failure: that is what it saves over chill-provision.
set -eu

on_the_server() {
    cd "$1"
    . ./settings
    umask 022
    for kind in production test; do
        . "./$kind"
        release=$home/releases/$version
        console() { (cd "$release" && runuser -u "$user" -- sh -c 'umask 027; exec php bin/console --no-interaction --no-ansi "$@"' console "$@"); }

        useradd --system --user-group --home-dir "$home" --no-create-home --shell /usr/sbin/nologin --comment "$domain" "$user"

        mkdir -p "$home/shared" "$release"
        chown "root:$user" "$home"
        chmod 0710 "$home"
        setfacl -m "user:$user:--x,user:chill-meter:--x,user:www-data:--x" "$home"
        tar --extract --gzip --file release.tar.gz --directory "$release" --strip-components=1 --no-same-owner --no-same-permissions
        rm -rf "$release/var"
        printf '%s\n' "$sha256" > "$release/.release"
        install -d -m 0755 "$release/var"
        install -d -m 0750 -o "$user" -g "$user" "$release/var/cache"
        install -d -m 0700 -o "$user" -g "$user" "$home/shared/tmp"
        install -d -m 0750 -o root -g "$user" "$home/shared/jwt"
        install -d -m 2750 -o "$user" -g chill-meter "$home/shared/documents"
        install -d -m 0750 -o "$user" -g chill-meter "$home/shared/log"
        install -m 0640 -o "$user" -g chill-meter /dev/null "$home/shared/log/metering.log"
        install -m 0640 -o "$user" -g "$user" /dev/null "$home/shared/log/prod.log"
        install -m 0640 -o "$user" -g "$user" /dev/null "$home/shared/log/php.log"
        ln -s "$home/shared/.env.local" "$release/.env.local"
        ln -s "$home/shared/log" "$release/var/log"

        install -d -m 0711 /etc/chill/tls
        install -d -m 0700 "/etc/chill/tls/$domain"
        install -m 0600 "$domain.key" "/etc/chill/tls/$domain/key.pem"
        install -m 0644 "$domain.pem" "/etc/chill/tls/$domain/certificate.pem"

        app_secret=$(openssl rand -hex 32)
        redis_password=$(openssl rand -hex 32)
        jwt_passphrase=$(openssl rand -hex 32)
        sed "s/@APP_SECRET@/$app_secret/g; s/@REDIS_PASSWORD@/$redis_password/g; s/@JWT_PASSPHRASE@/$jwt_passphrase/g" "$domain.env" |
            install -m 0400 -o "$user" -g "$user" /dev/stdin "$home/shared/.env.local"
        openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out jwt.clear
        openssl pkey -in jwt.clear -pubout | install -m 0400 -o "$user" -g "$user" /dev/stdin "$home/shared/jwt/public.pem"
        printf '%s' "$jwt_passphrase" | openssl pkey -in jwt.clear -aes-256-cbc -passout stdin |
            install -m 0400 -o "$user" -g "$user" /dev/stdin "$home/shared/jwt/private.pem"
        rm jwt.clear
        {
            printf 'AUTH chill-admin %s\n' "$(cat /etc/chill/redis-admin)"
            printf 'ACL SETUSER %s reset on sanitize-payload >%s ~%s:* resetchannels &%s:* +@all -@dangerous -@scripting +eval +evalsha +eval_ro +evalsha_ro -scan -randomkey -dbsize -pubsub -client|tracking\nACL SAVE\n' \
                "$user" "$redis_password" "$user" "$user"
        } | redis-cli -s /run/redis/redis-server.sock > redis.said
        ! grep -q ERR redis.said

        tar --extract --file "$kind.tar" --directory / --no-same-owner --preserve-permissions
        uid=$(id -u "$user")
        tar --list --file "$kind.tar" | grep -E '^etc/(chill|systemd)/' | sed 's,^,/,' |
            xargs sed -i "s/\b$known_uid\b/$uid/g; s/\b$((20000 + known_uid))\b/$((20000 + uid))/g"
        install -m 0640 -o www-data -g adm /dev/null "/var/log/nginx/$domain.access.log"
        install -m 0640 -o www-data -g adm /dev/null "/var/log/nginx/$domain.error.log"
        if [ "$kind" = test ]; then
            install -d -m 2750 -o chill-mail -g www-data "/var/lib/chill-mail/$domain"
            openssl rand -hex 32 | install -m 0600 /dev/stdin "/etc/chill/sites/$domain.verify"
            {
                printf 'test:%s\n' "$(openssl passwd -6 -stdin < "$domain.site")"
                printf 'verify:%s\n' "$(openssl passwd -6 -stdin < "/etc/chill/sites/$domain.verify")"
            } | install -m 0640 -g www-data /dev/stdin "/etc/chill/sites/$domain.htpasswd"
        fi
        runuser -u postgres -- psql -qX -v ON_ERROR_STOP=1 < "$kind.sql" > /dev/null
        console cache:clear
        console doctrine:migrations:migrate --allow-no-migration
        console messenger:setup-transports
        console chill:db:sync-views
        [ ! -e "$kind.grants" ] || runuser -u postgres -- psql -qX -v ON_ERROR_STOP=1 -d "$database" < "$kind.grants" > /dev/null
        console chill:user:create admin "$email" < /dev/null
        console chill:user:set_password admin < "$domain.password"
        ln -s "$release" "$home/current"
    done > /dev/null
    awk 'FNR == 1 && NR > 1 { print "" } 1' /etc/chill/meter.d/*.toml > /etc/chill/meter.toml
    awk 'FNR == 1 && NR > 1 { print "" } 1' /etc/chill/caught/* > /etc/postfix/caught
    systemctl daemon-reload
    nft --check --file /etc/nftables.conf && systemctl reload nftables
    postfix reload 2> /dev/null
    nginx -t -q && systemctl reload nginx
    systemctl enable --now --quiet $units
    cd /
    rm -rf "$1"
}

if [ "$1" = --on-the-server ]; then
    on_the_server "$2"
    exit
fi

directory=$1
shift
for domain in $(cat "$directory/domains"); do
    openssl ecparam -genkey -name prime256v1 -noout -out "$directory/$domain.key"
    openssl req -new -key "$directory/$domain.key" -subj "/CN=$domain" |
        openssl x509 -req -CA "$directory/../ca/ca.pem" -CAkey "$directory/../ca/ca.key" -CAcreateserial -days 397 \
            -extfile "$directory/$domain.extensions" -out "$directory/$domain.pem" 2> /dev/null
    openssl rand -hex 12 > "$directory/$domain.password"
    openssl rand -hex 12 > "$directory/$domain.site"
done
cp "$0" "$directory/create_pair.sh"
tar --create --directory "$directory" . |
    "$@" 'd=$(mktemp -d) && tar --extract --directory "$d" && sh "$d/create_pair.sh" --on-the-server "$d"'
for domain in $(cat "$directory/domains"); do
    printf 'user = "test:%s"\n' "$(cat "$directory/$domain.site")" |
        curl --config - --silent --show-error --fail --cacert "$directory/../ca/ca.pem" --resolve "$domain:443:$(cat "$directory/address")" \
        --output /dev/null "https://$domain/healthz"
done
{
    cat "$directory/letter"
    cat "$directory"/*.password "$directory"/*.site
} | gpg --homedir "$(cat "$directory/gnupg")" --batch --quiet --trust-model always --armor --encrypt --recipient "$(cat "$directory/fingerprint")" |
    curl --silent --show-error --url "$(cat "$directory/relay")" --mail-from adminsys@example.org \
        --mail-rcpt camille@example.org --upload-file -
